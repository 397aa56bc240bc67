"""What crosses a process border: schemas, golden samples, AsyncAPI, OpenAPI. Written by ``make contracts``."""
