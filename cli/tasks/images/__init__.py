"""Image data: sets, folders, archives, their cache, splits and augmentation."""
