"""What the gate decides, and the pages it answers itself. What it carries is in `gate.py`.

Who is this:        credentials, keyring, tokens, tokens_watch, settling, last_use
May they:           framing, origins, routes, permits, limits, rates, sessions, policy, mcp_headers, grants,
                    client_address, shared_state, owed, bodies, places, tasks
What is recorded:   records, metrics, ends, logs, tracebacks, loggers, line_writer, outputs, log_budget
What we answer:     replies, landing, notice, snippets
Client's side:      serving, descriptors, connection, incoming, listeners, exchange, events, headers
Upstream's side:    transports, answers, addresses, looks, hosting, inprocess, asyncio_loop, contained,
                    escapes, worker_threads, caller, tool_lock
Either side:        turns, own_threads, fair_threads
Its own life:       signals, ending, watchdog, forks, memory
The command line:   commands, token_file, toml_places, tokens_list, durations; settings, fresh_start
"""
