"""What an operator touches: the command line, log tools, the lab, deploy files and manuals."""
