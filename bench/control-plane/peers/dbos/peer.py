"""JOBS workflows with one step each, started and waited for. Prints workflows per second: the best of threads and tasks."""

import asyncio
import os
import time

from dbos import DBOS

JOBS = int(os.environ["JOBS"])
url = os.environ["DATABASE_URL"]
DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "sys_db_pool_size": 20})


@DBOS.step()
def step(number):
    return number


@DBOS.workflow()
def workflow(number):
    return step(number)


@DBOS.step()
async def step_async(number):
    return number


@DBOS.workflow()
async def workflow_async(number):
    return await step_async(number)


def threads():
    begun = time.monotonic()
    handles = [DBOS.start_workflow(workflow, number) for number in range(JOBS)]
    for handle in handles:
        handle.get_result()
    return JOBS / (time.monotonic() - begun)


async def tasks():
    begun = time.monotonic()
    limit = asyncio.Semaphore(64)

    async def one(number):
        async with limit:
            return await workflow_async(number)

    await asyncio.gather(*(one(number) for number in range(JOBS)))
    return JOBS / (time.monotonic() - begun)


DBOS.launch()
for number in range(20):
    workflow(number)
rates = [threads()]
try:
    rates.append(asyncio.run(tasks()))
except Exception as error:  # A mode that this version does not have.
    print("no tasks:", error)
print("RATE", max(rates))
DBOS.destroy()
os._exit(0)
