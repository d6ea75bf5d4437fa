-- Breaking: drops offer_snapshots, a cache of listings that an older build would miss. The first refresh fills offer_slices anew.
CREATE TABLE `leases` (
	`name` text PRIMARY KEY NOT NULL,
	`holder` text NOT NULL,
	`term` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`note` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `offer_slices` (
	`provider` text NOT NULL,
	`account` text NOT NULL,
	`slice` text NOT NULL,
	`part` integer NOT NULL,
	`parts` integer NOT NULL,
	`version` integer NOT NULL,
	`term` integer NOT NULL,
	`observed_at` integer NOT NULL,
	`dropped` integer NOT NULL,
	`truncated` integer NOT NULL,
	`offers` text NOT NULL,
	PRIMARY KEY(`provider`, `account`, `slice`, `part`)
);
--> statement-breakpoint
DROP TABLE `offer_snapshots`;