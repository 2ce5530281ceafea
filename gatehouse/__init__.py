"""The rooms of the gate. A module imports its own room and lower floors; `tests/test_house.py` holds that.

9  run.py          the order of the start and of the end, exit status
8  assembly/       settings to parts; nothing runs yet, and tests build their gate with it
7  gate.py         the order in which a request meets things
7  commands/       the command line
7  doctor/         the command that looks at a gate from outside, or at this machine: a list of findings
6  settings/       the environment, typed and judged all at once
6  hosting/        the MCP server that this program runs itself; only this room knows FastMCP and asyncio
6  pages/          pages that the gate answers itself, the dashboard among them, and snippets for clients
5  apps/           apps that people let in: the gate's own small authorization server, without its pages
4  policy/         the rules: origins, tools, rates, sessions, and the state that several gates share
4  tokens/         named tokens: the file, and the verifier over it
4  signin/         people in a browser: they sign in at a provider, or come through the front; their sessions
4  downstream/     the client's side: sockets, connections, places, bodies, one exchange
3  identity/       who is asking: verifiers, principals, people, scopes, grants and rates
3  upstream/       the ways to the upstream, over the network and in this process
3  process/        this program among others: a start without secrets, signals, the end, forks, memory
2  http/           messages: fields, credentials, addresses, paths, MCP's own fields, refusals
2  records/        log, redaction, metrics, one record a request
1  scheduling/     turns on the loop, threads with limits of their own
1  advice.py       the commands that messages suggest, and why the program cannot run here
1  version.py      the release
1  errors.py       errors as text for the log
1  pinned.py       what other libraries keep private and the gate replaces for speed, checked against the release
1  keepalive.py    how the kernel notices a peer that has vanished

docs/design.md explains the words, and says where each kind of change goes.
"""
