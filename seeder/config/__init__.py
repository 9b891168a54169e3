"""The configuration: a TOML file in, checked and frozen sections out.

In: the path of a file, and the environment's directories. Out: a `Config`, whose sections are
handed to the parts one by one; or a ConfigError with every mistake of the file and its place.

Door: `load.load` reads the file. `sections` puts the sections together, and `origins`, `objects`,
`events`, `public`, `node` and `money` have them, each with its keys, their types and defaults: a
new key begins there. `fields` has the types of the values, and `texts` their parsers. `mistakes`
words what is wrong, and `advice` says what is seldom meant though it is no mistake.
"""
