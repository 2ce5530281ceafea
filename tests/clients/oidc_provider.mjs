// A certified authorization server for the tests, oidc-provider, with one person (any name and password) and one machine.
// People get signed access tokens, and the machine opaque ones. PORT; TTL is the life of access tokens in seconds.
// WIDE=1: a client may later ask for more scopes than it has registered with. CLIENT: one more client, as JSON.
import { generateKeyPairSync } from 'node:crypto';
import { Provider, errors } from 'oidc-provider';

const { PORT, TTL = '600', WIDE, CLIENT } = process.env;
const SCOPES = 'mcp:read mcp:write';
const SIGNS = 'RS256';

const jwk = (kind, options, kid) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
  kid,
  use: 'sig',
});
const keys = [
  { ...jwk('rsa', { modulusLength: 2048 }, 'first'), alg: SIGNS },
  jwk('ec', { namedCurve: 'P-256' }, 'second'),
  jwk('ed25519', {}, 'third'),
];
const machine = (client_id, grant_types) => ({
  client_id,
  client_secret: `${client_id}-s3cret-of-the-tests-0123456789`,
  grant_types,
  redirect_uris: [],
  response_types: [],
});

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: [SIGNS, 'ES256', 'EdDSA'] },
  clients: [
    machine('gate', []),
    { ...machine('machine', ['client_credentials']), scope: SCOPES },
    ...(CLIENT ? [JSON.parse(CLIENT)] : []),
  ],
  scopes: ['openid', 'offline_access', ...SCOPES.split(' ')],
  claims: { profile: ['preferred_username'], email: ['email', 'email_verified'] },
  findAccount: (context, sub) => ({
    accountId: sub,
    claims: () => ({ sub, preferred_username: sub, email: `${sub}@example.com`, email_verified: true }),
  }),
  cookies: { keys: ['of the tests'] },
  pkce: { required: () => true },
  ttl: { AccessToken: Number(TTL), ClientCredentials: Number(TTL) },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (context, client) => client.clientId === 'gate' },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (context, client, only) => only,
      useGrantedResource: () => true,
      getResourceServerInfo(context, resource, client) {
        if (!/^http:\/\/127\.0\.0\.1:\d+\/mcp\/?$/.test(resource)) throw new errors.InvalidTarget();
        const accessTokenFormat = client.clientId === 'machine' ? 'opaque' : 'jwt';
        return { scope: SCOPES, audience: resource, accessTokenFormat, jwt: { sign: { alg: SIGNS } } };
      },
    },
  },
});

provider.on('server_error', (context, error) => console.error(error));

provider.use(async (context, next) => {
  if (WIDE && context.path === '/reg' && context.method === 'POST') {
    const pieces = [];
    for await (const piece of context.req) pieces.push(piece);
    context.req.body = { ...JSON.parse(Buffer.concat(pieces)), scope: undefined };
  }
  await next();
  const { method, path, status } = context;
  const shown = context.get('authorization');
  console.log(JSON.stringify({ method, path, status, authorization: shown }));
});

provider.listen(Number(PORT), '127.0.0.1');
