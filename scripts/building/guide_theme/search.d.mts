export type Section = {
    location: string;
    title: string;
    text: string;
};
