"""The report: what a log of an hour, a day or a month says of mail, summed up by DuckDB.

`reading` brings log files into tables in a directory that is deleted at the end, `questions` asks them, and `text` and
`page` show the answers. Only `danepipe report` imports what is here, since DuckDB takes its time to load.
"""
