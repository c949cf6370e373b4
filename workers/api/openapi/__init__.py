"""The OpenAPI document of the whole node: what the router cannot say of itself."""
