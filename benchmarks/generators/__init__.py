"""What makes load and checks every answer, compiled. Knows protocols, and neither servers nor parts."""
