"""VGG-16, AlexNet and Inception: networks and weights trained by others."""
