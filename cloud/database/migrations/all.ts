import { history } from './first/0001-history.ts'
import { inbox } from './first/0002-inbox.ts'
import { rollups } from './first/0003-rollups.ts'
import { audit } from './first/0004-audit.ts'
import { evidence } from './first/0005-evidence.ts'
import { queues } from './first/0006-queues.ts'
import { gateways } from './first/0007-gateways.ts'
import { inboxAge } from './first/0008-inbox-age.ts'
import { inboxBrin } from './first/0009-inbox-brin.ts'
import { gatewayDevices } from './first/0010-gateway-devices.ts'
import { failures } from './first/0011-failures.ts'
import { deeds } from './first/0012-deeds.ts'
import { access } from './first/0013-access.ts'
import { partitions } from './0014-partitions.ts'
import { series } from './0015-series.ts'
import { reader } from './0016-reader.ts'
import { projections } from './0017-projections.ts'
import { inboxWeeks } from './0018-inbox-weeks.ts'
import { rollupsOfHistory } from './0019-rollups.ts'
import { replayHistory } from './0020-replay-history.ts'
import { retention } from './0021-retention.ts'
import { parking } from './0022-parking.ts'
import { schemas } from './0023-schemas.ts'
import { typedViews } from './0024-typed-views.ts'
import type { Migration } from './migration.ts'

export const migrations: readonly Migration[] = [
  history,
  inbox,
  rollups,
  audit,
  evidence,
  queues,
  gateways,
  inboxAge,
  inboxBrin,
  gatewayDevices,
  failures,
  deeds,
  access,
  partitions,
  series,
  reader,
  projections,
  inboxWeeks,
  rollupsOfHistory,
  replayHistory,
  retention,
  parking,
  schemas,
  typedViews,
]
