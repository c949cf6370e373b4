"""The operator process: brings the database's tables to this version, and does what has to be done now and then."""
