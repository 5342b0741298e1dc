// graphile-worker as its documentation shows it: tasks with a queue in Postgres, one cron item that fills up what it
// missed.
//
// `peer.mjs setup` makes the schema and adds JOBS jobs; `peer.mjs work` runs a worker until it is told to stop.
// DATABASE_URL says where, SINK whom to tell.
import { makeWorkerUtils, run } from "graphile-worker";

const { DATABASE_URL: connectionString, SINK, JOBS } = process.env;

const tell = async (what) => {
  const answer = await fetch(`${SINK}/${what}`, { method: "POST" });
  if (!answer.ok) throw new Error(`the sink answered ${answer.status}`);
};

const options = {
  connectionString,
  concurrency: 8,
  pollInterval: 1000,
  crontab: "* * * * * tick ?fill=5m",
  taskList: {
    message: ({ number }) => tell(`message/${number}`),
    tick: ({ _cron }) => tell(`tick/${_cron.ts.slice(11, 16).replace(":", "")}`),
  },
};

const runner = await run(options);
if (process.argv[2] === "setup") {
  // A system that is dumped has run before: its cron item is known.
  await runner.stop();
  const utils = await makeWorkerUtils({ connectionString });
  for (let number = 0; number < Number(JOBS); number += 1) await utils.addJob("message", { number });
  await utils.release();
} else {
  await runner.promise;
}
