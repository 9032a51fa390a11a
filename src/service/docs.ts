/** The API documentation: the OpenAPI document, and a page that shows it and needs no network. */
import path from 'node:path'
import express, { type RequestHandler, type Router } from 'express'
import { HttpProblem, methodNotAllowed } from '../express'

const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'] as const

/** Allows only files of this server as scripts and styles, and none inline. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Returns the page. Its addresses are relative, so that it works behind a proxy that adds a prefix to paths. */
function page(prefix: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>millpond: the interface</title>
    <link rel="icon" type="image/png" href="${prefix}favicon-32x32.png">
    <link rel="stylesheet" href="${prefix}swagger-ui.css">
    <script src="${prefix}swagger-ui-bundle.js" defer></script>
    <script src="${prefix}start.js" defer></script>
  </head>
  <body>
    <div id="page"></div>
    <noscript>This page needs JavaScript. The document itself is <a href="${prefix}../openapi.json">openapi.json</a>.</noscript>
  </body>
</html>
`
}

/** Swagger UI has dark colours for pages of this class; only its header, which is not shown here, would set it. */
const START = `const dark = matchMedia('(prefers-color-scheme: dark)')
const followSystem = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', followSystem)
followSystem()
SwaggerUIBundle({
  url: new URL('../openapi.json', document.currentScript.src).href,
  dom_id: '#page',
  deepLinking: true,
  tryItOutEnabled: true,
  // It would ask a server on the internet whether the document is valid.
  validatorUrl: null,
})
`

/**
 * Serves `/openapi.json` and `/docs`. The document is made at its first request, because making it is slow and it is rarely
 * requested. The page's package is a development dependency; without it `/docs` answers 404.
 */
export function documentation(document: () => object): Router {
  let text: string | undefined
  const swaggerRoot = swaggerFolder()
  const router = express.Router()
  const get = (address: string, handle: RequestHandler): void => {
    router.route(address).get(handle).all(methodNotAllowed('GET'))
  }
  get('/openapi.json', (_request, response) => {
    response.type('json').send((text ??= JSON.stringify(document())))
  })
  get('/docs', ({ originalUrl }, response) => {
    if (swaggerRoot === null) {
      throw new HttpProblem(
        404,
        'The page needs the npm package swagger-ui-dist. The document is at /openapi.json.',
      )
    }
    const isFolder = new URL(originalUrl, 'http://localhost').pathname.endsWith('/')
    response
      .set('Content-Security-Policy', CONTENT_SECURITY_POLICY)
      .type('html')
      .send(page(isFolder ? '' : 'docs/'))
  })
  if (swaggerRoot === null) return router
  get('/docs/start.js', (_request, response) => {
    response.type('js').send(START)
  })
  for (const asset of ASSETS) {
    get(`/docs/${asset}`, (_request, response) => {
      response.sendFile(asset, { root: swaggerRoot, maxAge: '1h' })
    })
  }
  return router
}

function swaggerFolder(): string | null {
  try {
    return path.dirname(require.resolve('swagger-ui-dist/package.json'))
  } catch {
    return null
  }
}
