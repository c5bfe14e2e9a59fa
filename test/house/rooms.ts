/**
 * A room is a folder: the files that lie in it, without those of the rooms within it. Who may import whom stands here and
 * nowhere else; `imports.test.ts` holds the code to it, and `docs/ARCHITECTURE.md` to both.
 */
export interface Room {
  /** What one finds in it; the same words as in `docs/ARCHITECTURE.md`. */
  sentence: string
  /** Rooms of the same top folder, or single files of them, that it may import besides itself. */
  mayImport: readonly string[] | 'its whole side'
}

const wiring = 'its whole side'

export const rooms: Readonly<Record<string, Room>> = {
  src: { sentence: 'tools of both sides, no driver', mayImport: [] },
  'src/contract': {
    sentence: 'what both sides and third parties agree on: event, codec, wire',
    mayImport: ['src'],
  },
  'src/schemas': {
    sentence:
      'what data may look like: versions of each type as they lie on the disk, compiled, checked at a cost that is bounded (G7)',
    mayImport: ['src', 'src/contract', 'src/settings'],
  },
  'src/schemas/upcast': {
    sentence:
      'old versions brought forward: steps and functions with their cases, the way from version to version, the same as SQL',
    mayImport: ['src', 'src/contract', 'src/schemas', 'src/settings'],
  },
  'src/pace': { sentence: 'how much in which time', mayImport: [] },
  'src/settings': {
    sentence:
      'what a person sets: configuration files, environment, command lines, and what is said of faults in them',
    mayImport: ['src'],
  },
  'src/amqp': {
    sentence:
      'what both sides need of AMQP: confirms that cannot be another’s (G3), messages that bring nothing down (G5), addresses',
    mayImport: ['src'],
  },

  'src/files': {
    sentence: 'files that are looked after: read again when they change, replaced whole',
    mayImport: ['src'],
  },

  edge: { sentence: 'the gateway: command, composition, configuration', mayImport: wiring },
  'edge/ops': {
    sentence: 'what one can see of a running gateway: metrics, readiness',
    mayImport: [
      'edge/mqtt',
      'edge/mqtt/entrance',
      'edge/mqtt/trust',
      'edge/sessions',
      'edge/admission',
      'edge/schemas',
      'edge/uplink',
      'edge/outbox',
    ],
  },
  'edge/mqtt': {
    sentence: 'the broker: what those may do who were let in, how far they are read',
    mayImport: [
      'edge/mqtt/entrance',
      'edge/mqtt/door',
      'edge/mqtt/subscribers',
      'edge/mqtt/trust',
      'edge/mqtt/turns',
      'edge/sessions',
      'edge/sessions/records',
      'edge/admission',
      'edge/admission/routes',
    ],
  },
  'edge/mqtt/door': {
    sentence:
      'the packet door, the one place that reads frames: what is a packet of MQTT 3.1.1, what ends its connection, and what is taken past the broker',
    mayImport: [],
  },
  'edge/mqtt/entrance': {
    sentence:
      'who comes in: listeners, handshakes, the identity in a certificate, passwords, the upgrade to WebSocket',
    mayImport: ['edge/mqtt/door', 'edge/mqtt/trust', 'edge/users'],
  },
  'edge/mqtt/trust': {
    sentence:
      'whom the entrance trusts: certificates, CAs, revocation lists, who is denied, who has a password; read again while it runs',
    mayImport: ['edge/users'],
  },
  'edge/users': {
    sentence: 'devices that show a password: their file, and scrypt',
    mayImport: [],
  },
  'edge/devices-tool': {
    sentence: '`tidegate devices`: passwords given and taken away, and how products are told of them',
    mayImport: ['edge/users', 'edge/config.ts', 'edge/listeners.ts'],
  },
  'edge/mqtt/turns': {
    sentence: 'whose turn it is to be read: a fair share of the gateway’s time for each device',
    mayImport: [],
  },
  'edge/mqtt/subscribers': {
    sentence: 'who wants what is published, and how it gets there without holding up anybody',
    mayImport: ['edge/mqtt/door', 'edge/sessions', 'edge/admission/routes'],
  },
  'edge/sessions': {
    sentence:
      'what is kept for sessions that are away: subscriptions, queued and retained messages, wills, QoS 2',
    mayImport: ['edge/sessions/records', 'edge/admission', 'edge/admission/routes', 'edge/store/leveldb'],
  },
  'edge/sessions/records': {
    sentence: 'what lies in the session database: keys, records, what a device may have there',
    mayImport: ['edge/admission/routes'],
  },
  'edge/admission': {
    sentence: 'from a publish to an event: may it, is it one, read it, judge it, or quarantine it',
    mayImport: ['edge/admission/routes', 'edge/admission/codecs', 'edge/outbox'],
  },
  'edge/admission/codecs': {
    sentence:
      'payloads that are not JSON: read in bounds as what they would be in JSON (G7); what routes say of them, with their files',
    mayImport: ['edge/admission/codecs/avro', 'edge/admission/codecs/protobuf'],
  },
  'edge/admission/codecs/avro': {
    sentence: 'Avro: schemas, their fingerprints, and the binary encoding',
    mayImport: ['edge/admission/codecs'],
  },
  'edge/admission/codecs/protobuf': {
    sentence: 'Protobuf: .proto files, and the wire format as ProtoJSON',
    mayImport: ['edge/admission/codecs'],
  },
  'edge/admission/routes': {
    sentence:
      'which topics a device may use, which of them carry events, and what was meant by one that is none',
    mayImport: ['edge/admission/codecs', 'edge/outbox'],
  },
  'edge/schemas': {
    sentence:
      'which schemas a gateway judges by: a folder, or a signed snapshot that it keeps; proven, and replaced whole while it runs',
    mayImport: ['edge/admission', 'edge/admission/routes'],
  },
  'edge/uplink': { sentence: 'from the outbox to the exchange, with proof', mayImport: ['edge/outbox'] },
  'edge/outbox': {
    sentence: 'durable, numbered, kept until proven: port, observer, options, opening',
    mayImport: ['edge/outbox/writer', 'edge/store'],
  },
  'edge/outbox/writer': {
    sentence: 'the single writer: commands, one draft, one write',
    mayImport: [
      'edge/outbox',
      'edge/outbox/opening',
      'edge/outbox/rules',
      'edge/outbox/layout',
      'edge/store',
    ],
  },
  'edge/outbox/look': {
    sentence: 'the queue from outside, without changing it',
    mayImport: [
      'edge/outbox',
      'edge/outbox/opening',
      'edge/outbox/rules',
      'edge/outbox/layout',
      'edge/store',
    ],
  },
  'edge/outbox/opening': {
    sentence: 'a folder in whatever state, opened',
    mayImport: ['edge/outbox', 'edge/outbox/rules', 'edge/outbox/layout', 'edge/store'],
  },
  'edge/outbox/rules': {
    sentence:
      'one rule each, none knowing the others: who is remembered, who waits, what fits, who goes next, what time it is',
    mayImport: ['edge/outbox', 'edge/outbox/layout', 'edge/store'],
  },
  'edge/outbox/layout': {
    sentence: 'what lies in the store: keys, head, records',
    mayImport: ['edge/outbox', 'edge/store'],
  },
  'edge/outbox-tool': {
    sentence: '`tidegate outbox`: inspect, verify, find, export, repair',
    mayImport: ['edge/outbox', 'edge/outbox/look', 'edge/store', 'edge/store/leveldb', 'edge/config.ts'],
  },
  'edge/store': { sentence: 'the disk: port, and LevelDB as its adapter', mayImport: ['edge/store/leveldb'] },
  'edge/store/leveldb': { sentence: 'what LevelDB does not notice or do itself', mayImport: [] },

  cloud: { sentence: 'the consumers: command, composition, configuration', mayImport: wiring },
  'cloud/ops': {
    sentence: 'what one can see of a running cloud: metrics, readiness',
    mayImport: [
      'cloud/groups',
      'cloud/pipeline',
      'cloud/letters',
      'cloud/projections',
      'cloud/history',
      'cloud/reading',
      'cloud/api',
    ],
  },
  'cloud/api': {
    sentence: 'the HTTP API: who asks, what is asked, where it listens',
    mayImport: ['cloud/api/routes', 'cloud/api/tokens', 'cloud/api/rules', 'cloud/os-user.ts'],
  },
  'cloud/api/routes': {
    sentence: 'what the API can be asked for, as data; its OpenAPI document',
    mayImport: [
      'cloud/api/reads',
      'cloud/api/tokens',
      'cloud/api/rules',
      'cloud/deeds',
      'cloud/history',
      'cloud/registry',
      'cloud/schemas/apply',
    ],
  },
  'cloud/api/writes': {
    sentence:
      'what the API changes besides letters: failure groups, groups, parked devices, projections, tokens',
    mayImport: [
      'cloud/projections',
      'cloud/api/routes',
      'cloud/api/reads',
      'cloud/api/rules',
      'cloud/api/tokens',
      'cloud/protection',
      'cloud/parking',
      'cloud/database',
      'cloud/deeds',
    ],
  },
  'cloud/api/reads': {
    sentence: 'what the API reads, straight from the tables; streams of events',
    mayImport: ['cloud/api/rules', 'cloud/history', 'cloud/database'],
  },
  'cloud/api/tokens': {
    sentence: 'tokens: minted, proven, taken back',
    mayImport: ['cloud/api/rules', 'cloud/database'],
  },
  'cloud/api/rules': {
    sentence:
      'rules of the API: roles, problems, cursors, what is a payload, what answers look like, settings',
    mayImport: [],
  },
  'cloud/tool': {
    sentence: '`tidegate dead`, `where`, `groups`, `parked`, `token`, `api`: the API from a terminal',
    mayImport: ['cloud/api/routes', 'cloud/api/rules', 'cloud/deeds', 'cloud/config.ts', 'cloud/os-user.ts'],
  },
  'cloud/tool/replays': {
    sentence: '`tidegate replay`: events of history to a group again, by the same API',
    mayImport: ['cloud/tool', 'cloud/api/rules'],
  },
  'cloud/tool/projections': {
    sentence: '`tidegate projections`, by the same API',
    mayImport: ['cloud/tool', 'cloud/api/rules'],
  },
  'cloud/audit': {
    sentence: '`tidegate audit`: the proof',
    mayImport: [
      'cloud/deeds',
      'cloud/history',
      'cloud/gateways',
      'cloud/database',
      'cloud/database/migrations',
    ],
  },
  'cloud/audit/marks': {
    sentence:
      'the command, signed marks that an audit goes on from, heads that are demanded, identities that are there twice',
    mayImport: [
      'cloud/audit',
      'cloud/deeds',
      'cloud/history',
      'cloud/gateways',
      'cloud/database',
      'cloud/database/migrations',
      'cloud/database-choice.ts',
    ],
  },
  'cloud/retention': {
    sentence:
      '`tidegate history`: partitions archived, put on record and dropped, and archives attached to be read',
    mayImport: [
      'cloud/audit',
      'cloud/deeds',
      'cloud/history',
      'cloud/database',
      'cloud/database/migrations',
      'cloud/database-choice.ts',
      'cloud/os-user.ts',
    ],
  },
  'cloud/gateways': {
    sentence: '`tidegate gateways`: who the gateways are, and whom their events are believed of',
    mayImport: ['cloud/amqp', 'cloud/database', 'cloud/database/migrations', 'cloud/database-choice.ts'],
  },
  'cloud/groups': {
    sentence: 'groups at work, shared among instances, and new ones from the beginning of history on',
    mayImport: [
      'cloud/pipeline',
      'cloud/parking',
      'cloud/protection',
      'cloud/letters',
      'cloud/queues',
      'cloud/replays',
      'cloud/amqp',
      'cloud/database',
    ],
  },
  'cloud/history': {
    sentence: 'the record: every event once, and the ledger’s account',
    mayImport: [
      'cloud/pipeline',
      'cloud/pipeline/handlers',
      'cloud/replays',
      'cloud/history/append',
      'cloud/database',
    ],
  },
  'cloud/history/append': {
    sentence:
      'how the record grows: what is new is stored together, and what is not is told from what is there (G4)',
    mayImport: ['cloud/history', 'cloud/database'],
  },
  'cloud/projections': {
    sentence:
      'what is derived from the record, version beside version: definition, lease, runner, tables, deeds',
    mayImport: [
      'cloud/pipeline',
      'cloud/pipeline/handlers',
      'cloud/pipeline/limits',
      'cloud/history',
      'cloud/database',
    ],
  },
  'cloud/projections/built-in': {
    sentence: 'latest, devices, rollups, shapes; what was counted before rollups were a projection',
    mayImport: ['cloud/projections', 'cloud/database'],
  },
  'cloud/pipeline': {
    sentence: 'what becomes of a delivery; the consumer’s interface',
    mayImport: [
      'cloud/pipeline/handlers',
      'cloud/pipeline/limits',
      'cloud/reading',
      'cloud/parking',
      'cloud/gateways',
      'cloud/letters',
      'cloud/replays',
      'cloud/protection',
      'cloud/amqp',
      'cloud/database',
    ],
  },
  'cloud/reading': {
    sentence:
      'events held against their schemas, and read in the version that somebody asks for; where schemas come from, read again while it runs',
    mayImport: ['cloud/registry', 'cloud/database'],
  },
  'cloud/registry': {
    sentence:
      'the registry of schemas: what is published, revision by revision, and what files would add to it',
    mayImport: ['cloud/database'],
  },
  'cloud/scaffolding': {
    sentence: '`tidegate new`: a consumer, its tables and its test, to begin with',
    mayImport: ['cloud/testing/laws'],
  },
  'cloud/typing': { sentence: '`tidegate schema types`: TypeScript of the schemas', mayImport: [] },
  'cloud/testing': {
    sentence: 'what tests of users’ consumers import: the real pipeline on a time that is told',
    mayImport: [
      'cloud/testing/laws',
      'cloud/pipeline',
      'cloud/pipeline/handlers',
      'cloud/reading',
      'cloud/gateways',
      'cloud/letters',
      'cloud/parking',
      'cloud/replays',
      'cloud/amqp',
      'cloud/database',
      'cloud/database/migrations',
    ],
  },
  'cloud/testing/laws': {
    sentence: 'what is promised of every consumer, tried with events that are made up, and made simple',
    mayImport: [
      'cloud/testing',
      'cloud/pipeline',
      'cloud/pipeline/handlers',
      'cloud/protection',
      'cloud/database',
    ],
  },
  'cloud/pipeline/handlers': {
    sentence: 'what a handler sees: typed events, its transaction, its log',
    mayImport: ['cloud/database'],
  },
  'cloud/pipeline/limits': {
    sentence: 'how long a handler may take, how many run at once, how much is one transaction',
    mayImport: [],
  },
  'cloud/parking': {
    sentence:
      'devices whose events wait behind one that failed (G6): who waits, who has them in hand, how many may wait',
    mayImport: ['cloud/letters', 'cloud/amqp', 'cloud/database'],
  },
  'cloud/protection': {
    sentence: 'when a group is not to work: paused, tripped, too fast; breakers around what handlers call',
    mayImport: ['cloud/database'],
  },
  'cloud/letters': {
    sentence:
      'what failed for good, on record: letters, what they have in common, their mirror, story and log',
    mayImport: ['cloud/replays', 'cloud/amqp', 'cloud/database'],
  },
  'cloud/deeds': {
    sentence:
      'what people do about failures, on record: replay, edit, admit, discard, accept; the cloud’s own ledger',
    mayImport: [
      'cloud/replays',
      'cloud/history',
      'cloud/reading',
      'cloud/amqp',
      'cloud/database',
      'cloud/database-choice.ts',
      'cloud/os-user.ts',
    ],
  },
  'cloud/replays': {
    sentence:
      'dead letters and events of history on their way to a group again: the rule, the worker, patches; what the cloud publishes itself',
    mayImport: ['cloud/amqp', 'cloud/database'],
  },
  'cloud/schemas': {
    sentence: '`tidegate schema`: versions of an event type, and whether they understand each other',
    mayImport: [
      'cloud/schemas/apply',
      'cloud/schemas/compatibility',
      'cloud/schemas/gate',
      'cloud/schemas/language',
      'cloud/schemas/views',
      'cloud/typing',
      'cloud/database-choice.ts',
    ],
  },
  'cloud/schemas/views': {
    sentence:
      '`tidegate schema views`: a view of SQL for each event type, with a column for each member of its data',
    mayImport: [
      'cloud/schemas/language',
      'cloud/registry',
      'cloud/database',
      'cloud/database/migrations',
      'cloud/database-choice.ts',
    ],
  },
  'cloud/schemas/apply': {
    sentence:
      '`tidegate schema apply`: judged against what is published and stored, and published in one transaction; by the database or the API',
    mayImport: [
      'cloud/schemas',
      'cloud/schemas/gate',
      'cloud/registry',
      'cloud/reading',
      'cloud/deeds',
      'cloud/tool',
      'cloud/database',
      'cloud/database/migrations',
      'cloud/database-choice.ts',
      'cloud/os-user.ts',
    ],
  },
  'cloud/schemas/gate': {
    sentence:
      'what is stored, held against a version that is to come: excluded by its shape, else read, in bounded memory (G7)',
    mayImport: [
      'cloud/schemas',
      'cloud/schemas/compatibility',
      'cloud/schemas/language',
      'cloud/projections/built-in',
      'cloud/reading',
      'cloud/history',
      'cloud/replays',
      'cloud/database',
      'cloud/database-choice.ts',
    ],
  },
  'cloud/schemas/compatibility': {
    sentence:
      'whether one schema accepts all that another does: by rules, with a document that shows it if not, at a cost that is bounded (G7)',
    mayImport: ['cloud/schemas/documents', 'cloud/schemas/language'],
  },
  'cloud/schemas/documents': {
    sentence: 'documents that a schema accepts, made near to where another draws its lines',
    mayImport: ['cloud/schemas/language'],
  },
  'cloud/schemas/language': {
    sentence:
      'what a schema says, whichever dialect it is written in: its keywords, its cases, what is true of each',
    mayImport: [],
  },
  'cloud/queues': {
    sentence: 'what the broker has of our queues: settings in effect, and queues of former versions',
    mayImport: ['cloud/amqp', 'cloud/database'],
  },
  'cloud/amqp': { sentence: 'RabbitMQ: connection, topology, deliveries, sidings', mayImport: [] },
  'cloud/database': {
    sentence: 'PostgreSQL: pool, transaction, inbox',
    mayImport: ['cloud/database/migrations'],
  },
  'cloud/database/migrations': {
    sentence: 'steps of the schema, in order',
    mayImport: ['cloud/database/migrations/first'],
  },
  'cloud/database/migrations/first': {
    sentence: 'the first thirteen: history, inbox, rollups, gateways, failures, access',
    mayImport: [],
  },

  certs: { sentence: 'the development PKI and certificate tooling', mayImport: [] },
  'certs/lists': {
    sentence: '`tidegate lists`: who is not to be let in, signed and told to all gateways',
    mayImport: ['certs'],
  },

  dev: { sentence: 'a run, from the command to its end', mayImport: wiring },
  'dev/report': {
    sentence: 'the books, balanced and shown',
    mayImport: ['dev/report/page', 'dev/evidence', 'dev/watch', 'dev/faults', 'dev/fleet', 'dev/format.ts'],
  },
  'dev/report/page': { sentence: 'what the report’s page does in a browser', mayImport: [] },
  'dev/screen': {
    sentence: 'the live view',
    mayImport: ['dev/watch', 'dev/faults', 'dev/stack', 'dev/format.ts'],
  },
  'dev/evidence': {
    sentence: 'where a missing event lies, and how one knows',
    mayImport: ['dev/watch', 'dev/stack', 'dev/servers', 'dev/format.ts'],
  },
  'dev/watch': {
    sentence: 'what is read from the system during and after a run',
    mayImport: ['dev/faults', 'dev/stack', 'dev/servers', 'dev/fleet', 'dev/format.ts'],
  },
  'dev/faults': { sentence: 'what is done to the system on purpose', mayImport: ['dev/stack'] },
  'dev/stack': {
    sentence: 'all of Tidegate as real processes',
    mayImport: ['dev/servers', 'dev/fleet'],
  },
  'dev/servers': {
    sentence: 'private RabbitMQ and PostgreSQL: found, started, kept on a leash',
    mayImport: ['dev/servers/rabbit', 'dev/servers/postgres'],
  },
  'dev/servers/rabbit': { sentence: 'a RabbitMQ node of our own', mayImport: ['dev/servers'] },
  'dev/servers/postgres': { sentence: 'a PostgreSQL server of our own', mayImport: ['dev/servers'] },
  'dev/packing': {
    sentence: 'the package of those who write consumers, out of what is compiled',
    mayImport: [],
  },
  'dev/fleet': { sentence: 'simulated devices', mayImport: [] },

  cli: {
    sentence: 'the `tidegate` command; loads each side when it is asked for',
    mayImport: ['cli/asyncapi'],
  },
  'cli/asyncapi': {
    sentence:
      '`tidegate asyncapi`: what goes in and out of both sides as a document, made of schemas, routes and topology',
    mayImport: ['cli/asyncapi/page'],
  },
  'cli/asyncapi/page': {
    sentence: 'AsyncAPI and OpenAPI as one page to read, in which every text is text',
    mayImport: ['cli/asyncapi/json.ts'],
  },
}

/** What each top folder may import of the others; the compiler says so too, by its projects. */
export const sides: Readonly<Record<string, readonly string[]>> = {
  src: [],
  edge: ['src'],
  cloud: ['src'],
  certs: ['src'],
  dev: ['src', 'certs'],
  cli: ['src', 'edge', 'cloud', 'certs', 'dev'],
}

/** Of the room it lies in, `file` alone imports `room`. */
export const alone: readonly { file: string; room: string }[] = [
  { file: 'edge/outbox/open.ts', room: 'edge/outbox/writer' },
  { file: 'edge/admission/codecs/route-decoders.ts', room: 'edge/admission/codecs/avro' },
  { file: 'edge/admission/codecs/route-decoders.ts', room: 'edge/admission/codecs/protobuf' },
  { file: 'dev/servers/obtain.ts', room: 'dev/servers/rabbit' },
  { file: 'dev/servers/obtain.ts', room: 'dev/servers/postgres' },
]

export const filesMax = 15
