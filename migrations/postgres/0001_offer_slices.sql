-- Breaking: drops offer_snapshots, a cache of listings that an older build would miss. The first refresh fills offer_slices anew.
CREATE TABLE "leases" (
	"name" text PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"term" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	"note" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "offer_slices" (
	"provider" text NOT NULL,
	"account" text NOT NULL,
	"slice" text NOT NULL,
	"part" bigint NOT NULL,
	"parts" bigint NOT NULL,
	"version" bigint NOT NULL,
	"term" bigint NOT NULL,
	"observed_at" bigint NOT NULL,
	"dropped" bigint NOT NULL,
	"truncated" boolean NOT NULL,
	"offers" jsonb NOT NULL,
	CONSTRAINT "offer_slices_provider_account_slice_part_pk" PRIMARY KEY("provider","account","slice","part")
);
--> statement-breakpoint
DROP TABLE "offer_snapshots" CASCADE;