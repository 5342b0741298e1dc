# What people do here. Each target installs what it lacks; nothing else has to be set up.

ARGS ?=
OUT ?=

.DEFAULT_GOAL := help
.PHONY: help drill faults judge-mutations killed-drills test drill-report bench-control-plane bench-drill bench-ledger bench-never-twice bench-scan chaos disasters sqlx-prepare freeze-migrations install release

# Builds take the committed data about SQL statements; a database that happens to be around is none of their business.
export SQLX_OFFLINE := true
unexport DATABASE_URL
# rustup's usual place, for shells that don't know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26
	@echo "  ARGS='...' passes more to the program, OUT=folder says where a drill's report goes."

drill: release ## Rehearse a disaster and its recovery; the report is below drill-reports/.
	target/release/cowork drill run $(if $(OUT),--out $(OUT)) $(ARGS)

test: ## Formatting, clippy, frozen migrations, offline data, and every test.
	@scripts/install test
	@scripts/test $(ARGS)

drill-report: release ## Regenerate docs/runbooks/restore-drill-report.md from a real drill.
	@scripts/drill-report $(ARGS)

bench-drill: release ## What a drill costs over the bare work, at scale 20.
	cargo build --release --locked --package bench-drill
	target/release/bench-drill $(ARGS)

bench-control-plane: release ## How fast the control plane is, beside others on the same Postgres.
	cargo build --release --locked --package bench-control-plane
	target/release/bench-control-plane $(ARGS)

bench-ledger: ## What the recovery ledger costs: objects, latency, replay.
	cargo build --release --locked --package bench-ledger
	target/release/bench-ledger $(ARGS)

bench-scan: release ## What the scanner finds and how fast, beside detect-secrets and ripsecrets (takes python3 with venv).
	cargo build --release --locked --package bench-scan
	target/release/bench-scan

bench-never-twice: release ## What three Postgres queues, and ours, send and fire again after a restore (takes node, npm, python3 with venv).
	cargo build --release --locked --package bench-never-twice
	target/release/bench-never-twice

disasters: release ## A thousand disasters at random instants: nothing twice, nothing lost, nothing back from the dead.
	cargo build --release --locked --package bench-disasters
	target/release/bench-disasters $(ARGS)

chaos: release ## Ten minutes of killed roles, a falling Postgres and cut connections under load, then every law by query and a drill.
	cargo build --release --locked --package bench-chaos
	target/release/bench-chaos $(ARGS)

faults: release ## Drill the judge: every broken world has to be caught, every healthy one has to pass.
	target/release/cowork drill faults --all $(ARGS)

judge-mutations: release ## Leave out each comparison of the judge, one after the other: a fault has to go uncaught.
	target/release/cowork drill faults --mutations $(ARGS)

killed-drills: install ## Kill a drill at every entry of its journal: nothing of it may be left.
	cargo build --locked --package cowork
	cargo nextest run --locked --package e2e --run-ignored only --no-capture -E 'binary(killed)'

.PHONY: fuzz
fuzz: install ## Run each fuzz target for a minute (fuzz/README.md).
	@scripts/fuzz $(ARGS)

sqlx-prepare: install ## Write the offline data of SQL statements after one was edited.
	@scripts/sqlx-prepare

freeze-migrations: ## List new migrations as landed; from then on they never change.
	@scripts/migrations freeze

install: ## Install what this machine lacks (Debian's packages; needs root or sudo then).
	@scripts/install

release: install
	cargo build --release --locked --package cowork
