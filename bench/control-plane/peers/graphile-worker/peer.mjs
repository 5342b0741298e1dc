// JOBS jobs that do nothing, from the first claim to the last acknowledgement, in graphile-worker's default mode at the
// concurrency that its own benchmark takes. Prints jobs per second.
import { makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const { DATABASE_URL: connectionString, JOBS } = process.env;
const jobs = Number(JOBS);

const utils = await makeWorkerUtils({ connectionString });
await utils.migrate();
const pool = new pg.Pool({ connectionString });
await pool.query("SELECT graphile_worker.add_job('nothing', '{}'::json) FROM generate_series(1, $1::int)", [jobs]);
await pool.query("VACUUM ANALYZE graphile_worker._private_jobs");

let done = 0;
const begun = process.hrtime.bigint();
const runner = await run({
  connectionString,
  concurrency: 24,
  maxPoolSize: 25,
  noHandleSignals: true,
  logger: undefined,
  taskList: { nothing: () => { done += 1; } },
});
const left = async () => Number((await pool.query("SELECT count(*) FROM graphile_worker._private_jobs")).rows[0].count);
while (done < jobs || (await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
await runner.stop();
await utils.release();
await pool.end();
console.log(`RATE ${jobs / seconds}`);
process.exit(0);
