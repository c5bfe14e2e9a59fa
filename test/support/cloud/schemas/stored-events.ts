import type { Database } from '../../../../cloud/database/database-postgres.ts'

const insertSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, dataschema, time, recorded_time, disposition, body)
select 'gateway-1', $1, n, '/devices/sensor-1', $1 || n, $2, dataschema, now(), now(), 'accepted', body::json
from unnest($3::text[], $4::text[]) with ordinality as e (dataschema, body, n)`

/** What a gateway has recorded, text by text. As the owner; `epoch`: of each call another. */
export async function storeEvents(
  database: Database,
  epoch: string,
  type: string,
  events: readonly { dataschema: string | null; dataText: string }[],
): Promise<void> {
  await database.query(insertSql, [
    epoch,
    type,
    events.map(({ dataschema }) => dataschema),
    events.map(({ dataText }) => `{"id":"x","data":${dataText}}`),
  ])
}
