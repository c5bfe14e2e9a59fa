# One image for every Tidegate program: `edge`, `cloud`, `certs`, … are arguments.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.base.json ./
COPY src src
COPY certs certs
COPY edge edge
COPY cloud cloud
COPY dev dev
COPY cli cli
RUN npx tsc -b cli && chmod +x dist/cli/tidegate.js && npm prune --omit=dev --no-audit --no-fund

FROM node:20-bookworm-slim
ENV NODE_ENV=production
# A young generation of this size takes a third less CPU at full speed (docs/OPERATIONS.md, Sizing); -e NODE_OPTIONS=… wins.
ENV NODE_OPTIONS=--max-semi-space-size=64
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY dev/report/page/style.css dev/report/page/style.css
COPY schemas schemas
COPY config config
COPY deploy/postgres deploy/postgres
RUN ln -s /app/dist/cli/tidegate.js /usr/local/bin/tidegate
USER node
ENTRYPOINT ["node", "/app/dist/cli/tidegate.js"]
CMD ["--help"]
