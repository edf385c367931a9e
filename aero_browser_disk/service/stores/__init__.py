"""Where images are kept: a folder or a bucket, behind `image_store.ImageStore`."""
