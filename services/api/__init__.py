"""The one HTTP door: authenticate, validate, box values, translate to requests on the bus."""
