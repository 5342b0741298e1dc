// An OpenID Connect provider on a free port of this machine, with one client and its own login pages, where anybody signs in under any
// name. The last four arguments: where to write its issuer, and the client's id, secret and redirect address.
import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [readyFile, clientId, clientSecret, redirectUri] = process.argv.slice(-4);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    findAccount: async (_, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, email: `${id}@example.org`, email_verified: true }),
    }),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'first', use: 'sig', alg: 'RS256' }] },
    pkce: { required: () => true },
  });
  server.on('request', provider.callback());
  writeFileSync(`${readyFile}.new`, issuer);
  renameSync(`${readyFile}.new`, readyFile);
});

// Whoever started it holds its input open.
process.stdin.resume().on('end', () => process.exit(0));
