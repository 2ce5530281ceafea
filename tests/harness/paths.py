"""Paths that have no route."""

from __future__ import annotations

ODD = """
    //mcp /mcp// /mcp//a /mcp/a// /./mcp /../mcp /mcp/. /mcp/.. /mcp/./a /mcp/../admin /mcp/a/..
    /mcp/%2e%2e/admin /mcp/%2E /mcp/.%2e/x /mcp/%2e./x /mcp;x /mcp;/a /mcp/a;b /mcp/a%3Bb /mcp%2f
    /mcp%2Fa /mcp/a%2fb /mcp/a%5cb /mcp\\ /mcp/a\\b /m%63p /%6dcp /MCP /Mcp /mcp/%6d /mcp/%41 /mcp#x
    /mcp/a#b /mcp%00 /mcp/a%00 /mcp/%0d%0a /mcp/%7f /mcp/%1b /mcp/%25 /mcp/%252e%252e /mcp/%3f
    /mcp/%23 /mcp/% /mcp/%4 /mcp/%zz /mcp/%u002e /mcpx /mcp.json /mcp, mcp mcp/ *
    host:443 /xmcp /a/mcp /mcp/a|b /mcp/a"b /mcp/<a> /mcp/a^b /mcp/{a} /mcp/a`b /mcp%20 /mcp/.%2F
    /mcp/%c0%ae%c0%ae/admin /mcp/a%C0%AFb /mcp/%e0%80%ae /mcp/%F0%80%80%AF /mcp/%c1%8d
""".split()

DISCOVERY = """
    /.well-known/oauth-protected-resource /.well-known/oauth-protected-resource/mcp
    /.well-known/oauth-authorization-server /.well-known/oauth-authorization-server/mcp
    /.well-known/openid-configuration /.well-known/openid-configuration/mcp
    /mcp/.well-known/openid-configuration /mcp/.well-known /mcp/a/.well-known/b /.well-known/
    /register /authorize /token /register/ /oauth/token
""".split()
