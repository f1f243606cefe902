"""Run and keep: accept mail, order the stages, store, schedule. Dramatiq and Redis live on this floor."""
