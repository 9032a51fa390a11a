# The service in a container. This file has not been run: no container engine was available where it was written. Only the
# build, the pruning and the start were run, in a folder; apt-get, npm ci, COPY and the user without rights were not.

FROM node:24-bookworm-slim AS build
WORKDIR /app
# The driver for SQLite compiles where it has no ready-made binary.
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3 make g++ \
  && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build
# What is needed to run, and the page at /docs, which is a development dependency.
RUN mv node_modules/swagger-ui-dist /tmp/ \
  && npm prune --omit=dev \
  && mv /tmp/swagger-ui-dist node_modules/

FROM node:24-bookworm-slim
# From outside of the container nobody reaches 127.0.0.1 in it.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000
WORKDIR /app
# SQLite files, if there is no DATABASE_URL. The code belongs to root: the service cannot change it.
RUN mkdir data && chown node:node data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/livez').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/src/service/start.js"]
