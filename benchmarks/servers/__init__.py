"""What is measured, and how it is started, watched and stopped: our own processes, floors and peers."""
