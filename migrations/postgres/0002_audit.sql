CREATE TABLE "audit" (
	"chain" text NOT NULL,
	"seq" bigint NOT NULL,
	"at" bigint NOT NULL,
	"actor" text NOT NULL,
	"kind" text NOT NULL,
	"data" text NOT NULL,
	"prev_hash" text NOT NULL,
	"hash" text NOT NULL,
	CONSTRAINT "audit_chain_seq_pk" PRIMARY KEY("chain","seq")
);
--> statement-breakpoint
CREATE INDEX "audit_at" ON "audit" USING btree ("at");