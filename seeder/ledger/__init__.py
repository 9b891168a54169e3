"""What is counted: what S3 sent and charged, what was sent on, what peers gained and claim.

In: one short call for each event, on the `Account` of an object version. Out: a `Report` for the
status page, the metrics and `seeder report`; a `Budget` that says what may still be read and sent;
and rows of the ledger's SQLite file, which outlive the process.

Door: `counters.Ledger` has the accounts. `delivery` tells what a peer gained, `spread` how much of
that is believed; `savings` has the formulas, and `report` the figures. `limits` says what may be
spent a day and a month, `budget` holds reads to it, `spending` tells how a configuration's stands.
`database` flushes the ledger to its `file`; `reading` opens that for others, with the tables of
`schema` as `records` reads them. `history` tells what was counted when: `recent` keeps the last
hour, `series` makes arrays of it and of the file. For finance, `bill` has what months cost,
`statement` reads them from the file, and `estimate` models those to come.
"""
