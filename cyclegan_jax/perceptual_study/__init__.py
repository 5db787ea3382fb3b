"""A study with people, who tell real pictures from generated ones."""
