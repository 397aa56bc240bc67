"""Who may do what: signed tokens, roles and scopes."""
