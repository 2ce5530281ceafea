// A client on the TypeScript SDK that can sign in: it connects, calls TOOL, and prints one line of JSON about it.
// URL; ERA: legacy, or a version of MCP; BEARER: a static token to send; PERSON: the stand-in for a browser, as JSON;
// KEPT: a file for all that the next start is to find again, if there is to be one.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const { URL: url, ERA = 'legacy', BEARER, PERSON, KEPT, TOOL = 'add' } = process.env;
const callback = 'http://127.0.0.1:7/callback'; // nobody listens there: the person stops before it
const [person, ...more] = JSON.parse(PERSON);
const kept = KEPT && existsSync(KEPT) ? JSON.parse(readFileSync(KEPT)) : {};
const told = { scopes: [] };

const authProvider = {
  redirectUrl: callback,
  clientMetadata: {
    client_name: 'tests of the gate',
    redirect_uris: [callback],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  state: () => randomUUID(), // many leave it out, for the SDK does not ask for it
  invalidateCredentials: (what) => void delete kept[what], // without it, a refused refresh token is the end
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  discoveryState: () => kept.discovery,
  saveDiscoveryState: (discovery) => void (kept.discovery = discovery),
  redirectToAuthorization(there) {
    kept.there = String(there);
    told.scopes.push(there.searchParams.get('scope'));
  },
};

const options = { authProvider };
if (BEARER) options.requestInit = { headers: { Authorization: `Bearer ${BEARER}` } };

function made() {
  const versionNegotiation = { mode: ERA === 'legacy' ? ERA : { pin: ERA } };
  const client = new Client({ name: 'tests', version: '1' }, { versionNegotiation });
  return [client, new StreamableHTTPClientTransport(new URL(url), options)];
}

async function signedIn(transport, error) {
  if (!kept.there || told.scopes.length > 2) throw error;
  const { stdout } = await promisify(execFile)(person, [...more, kept.there, callback]);
  kept.there = undefined;
  await transport.finishAuth(new URL(stdout.trim()).searchParams);
}

try {
  let [client, transport] = made();
  try {
    await client.connect(transport);
  } catch (error) {
    await signedIn(transport, error);
    [client, transport] = made();
    await client.connect(transport);
  }
  const call = () => client.callTool({ name: TOOL, arguments: TOOL === 'add' ? { a: 2, b: 3 } : {} });
  const called = await call().catch(async (error) => {
    await signedIn(transport, error); // a step up
    return call();
  });
  told.text = called.content[0].text;
  await client.close();
} catch (error) {
  told.error = `${error.constructor.name}: ${error.message}`;
}
if (KEPT) writeFileSync(KEPT, JSON.stringify(kept));
console.log(JSON.stringify(told));
process.exit(0);
