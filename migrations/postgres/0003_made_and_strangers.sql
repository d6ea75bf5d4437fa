ALTER TABLE "attempts" ADD COLUMN "instance_made_at" bigint;--> statement-breakpoint
ALTER TABLE "observations" ADD COLUMN "strangers" bigint DEFAULT 0 NOT NULL;