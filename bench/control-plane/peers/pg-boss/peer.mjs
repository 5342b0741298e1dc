// JOBS jobs that do nothing, fetched and completed in batches. Prints jobs per second.
import PgBoss from "pg-boss";

const { DATABASE_URL: connectionString, JOBS } = process.env;
const jobs = Number(JOBS);

const boss = new PgBoss({ connectionString, supervise: false, schedule: false });
await boss.start();
await boss.createQueue("nothing");
for (let from = 0; from < jobs; from += 1000) {
  await boss.insert(Array.from({ length: Math.min(1000, jobs - from) }, () => ({ name: "nothing", data: {} })));
}
let done = 0;
const begun = process.hrtime.bigint();
const work = async () => {
  for (;;) {
    const batch = await boss.fetch("nothing", { batchSize: 100 });
    if (!batch || batch.length === 0) return;
    await boss.complete("nothing", batch.map((job) => job.id));
    done += batch.length;
  }
};
await Promise.all(Array.from({ length: 4 }, work));
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
if (done < jobs) throw new Error(`only ${done} jobs were done`);
await boss.stop({ graceful: false });
console.log(`RATE ${jobs / seconds}`);
process.exit(0);
