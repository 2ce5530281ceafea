"""The rooms of the gate. A module imports its own room and lower floors; `tests/test_house.py` holds that.

7  run.py          who starts whom, who stops first, exit status
6  gate.py         the order in which a request meets things
6  commands/       the command line
5  settings.py     the environment, typed and judged all at once
5  hosting/        the MCP server that this program runs itself; only this room knows FastMCP and asyncio
5  pages/          pages that the gate answers itself, and snippets for clients
4  policy/         may they: origins, tools, rates, sessions, and what several gates share
4  tokens/         named tokens: the file, and the verifier over it
4  downstream/     the client's side: sockets, connections, places, bodies, one exchange
3  identity/       who is this: principals, what they may, how often
3  upstream/       the ways to the upstream, over the network and in this process
3  process/        this program among others: a start without secrets, signals, the end, forks, memory
2  http/           messages: fields, credentials, addresses, paths, MCP's own fields, refusals
2  records/        what is recorded: log, redaction, metrics, one record a request
1  scheduling/     who goes on when: turns on the loop, threads with limits of their own
1  errors.py       errors as text for the log
1  keepalive.py    how the kernel notices a peer that has vanished
"""
