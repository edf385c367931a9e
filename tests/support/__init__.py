"""What tests of several kinds share: images, programs and waiting."""
