"""JOBS tasks that do nothing, from the first claim to the last acknowledgement. Prints tasks per second."""

import asyncio
import os
import time

import procrastinate

JOBS = int(os.environ["JOBS"])
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"], max_size=20))


@app.task(name="nothing")
async def nothing():
    pass


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, JOBS, 1000):
            await nothing.batch_defer_async(*({} for _ in range(min(1000, JOBS - start))))
        begun = time.monotonic()
        await app.run_worker_async(concurrency=24, wait=False, install_signal_handlers=False, listen_notify=False)
        print("RATE", JOBS / (time.monotonic() - begun))


asyncio.run(main())
