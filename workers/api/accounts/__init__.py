"""Who is signed in, and what their account allows."""
