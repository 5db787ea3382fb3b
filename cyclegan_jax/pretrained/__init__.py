"""VGG-16, AlexNet and Inception: networks with published weights."""
