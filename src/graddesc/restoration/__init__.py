"""From an image and a mask to the restored image."""
