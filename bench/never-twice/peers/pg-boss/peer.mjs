// pg-boss as its documentation shows it: queues in Postgres, one schedule.
//
// `peer.mjs setup` makes the schema and sends JOBS jobs; `peer.mjs work` runs a worker until it is told to stop.
// DATABASE_URL says where, SINK whom to tell.
import PgBoss from "pg-boss";

const { DATABASE_URL: connectionString, SINK, JOBS } = process.env;

const tell = async (what) => {
  const answer = await fetch(`${SINK}/${what}`, { method: "POST" });
  if (!answer.ok) throw new Error(`the sink answered ${answer.status}`);
};

// A schedule's job carries no due time: it was due in the minute in which it was made.
const minute = () => new Date().toISOString().slice(11, 16).replace(":", "");

const setup = process.argv[2] === "setup";
const boss = new PgBoss({ connectionString, schedule: !setup, cronMonitorIntervalSeconds: 1, cronWorkerIntervalSeconds: 1 });
boss.on("error", (error) => console.error(error.message));
await boss.start();
if (setup) {
  await boss.createQueue("message");
  await boss.createQueue("tick");
  for (let number = 0; number < Number(JOBS); number += 1) await boss.send("message", { number });
  await boss.schedule("tick", "* * * * *");
  await boss.stop({ graceful: false });
} else {
  const options = { batchSize: 20, pollingIntervalSeconds: 0.5 };
  await boss.work("message", options, (jobs) => Promise.all(jobs.map((job) => tell(`message/${job.data.number}`))));
  await boss.work("tick", options, (jobs) => Promise.all(jobs.map(() => tell(`tick/${minute()}`))));
}
