"""Ways in: the SMTP listener, files and standard input, and the sendmail command. All end at the door."""
