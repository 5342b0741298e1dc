"""procrastinate as its documentation shows it: tasks with a queue in Postgres, one periodic task.

`peer.py setup` makes the schema and defers JOBS tasks; `peer.py work` runs a worker until it is told to stop.
DATABASE_URL says where, SINK whom to tell.
"""

import asyncio
import os
import sys
import urllib.request
from datetime import datetime, timezone

import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


def tell(what):
    request = urllib.request.Request(f"{os.environ['SINK']}/{what}", method="POST")
    urllib.request.urlopen(request, timeout=10).read()


@app.task(name="message")
async def message(number):
    await asyncio.to_thread(tell, f"message/{number}")


@app.periodic(cron="* * * * *")
@app.task(name="tick")
async def tick(timestamp):
    minute = datetime.fromtimestamp(timestamp, timezone.utc).strftime("%H%M")
    await asyncio.to_thread(tell, f"tick/{minute}")


async def main(command):
    async with app.open_async():
        if command == "setup":
            await app.schema_manager.apply_schema_async()
            for number in range(int(os.environ["JOBS"])):
                await message.defer_async(number=number)
        else:
            await app.run_worker_async(concurrency=8, wait=True, fetch_job_polling_interval=1)


asyncio.run(main(sys.argv[1]))
