"""What is sent, predictably: each source makes the content of any batch of any user, again and again the same."""
