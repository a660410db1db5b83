def stub(): pass
