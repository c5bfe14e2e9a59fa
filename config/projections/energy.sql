-- Names have no schema: each version of the projection has its own.
create table energy (
  device text collate "C" not null,
  day    date not null,
  joules numeric not null,
  primary key (device, day)
);
comment on table energy is 'Energy per device and day (UTC), from readings of power: each counts until the next, for 15 minutes at most.';

-- The last reading of each device: what the next one goes on from.
create table energy_last (
  device     text collate "C" primary key,
  time_ms    bigint not null,
  milliwatts bigint not null
);
