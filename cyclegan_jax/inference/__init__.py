"""Loads trained models and translates pictures, volumes and videos."""
