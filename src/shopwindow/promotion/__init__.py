"""Put a new bundle in the place of the one in service, if it is no worse, and take it back.

`judging` asks both and says why or why not; `succession` changes the file that a server watches.
"""
