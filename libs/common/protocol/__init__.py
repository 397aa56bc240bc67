"""What the services ask each other: one module per answering service, with its endpoints."""
