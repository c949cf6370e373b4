"""UDP of the answer path: datagrams in batches; text, JSON and binary requests and their replies."""
